from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from gha.apps.config import config_to_dict, load_config, save_config
from gha.errors import InputError
from gha.limits import Limit, at_least, between, limited, numbers


@dataclass
class Losses:
    silhouette: float = 0.1
    """Weight of the silhouette."""
    normal: float | None = None


@dataclass(frozen=True)
class Network:
    widths: list[int] = field(default_factory=lambda: [64, 64])
    activation: Literal["relu", "softplus"] = "relu"


@dataclass
class Experiment:
    name: str
    steps: int = 100
    preview: bool = True
    capture: Path = Path("captures/demo")
    image_size: tuple[int, int] = (256, 256)
    losses: Losses = field(default_factory=Losses)
    network: Network = field(default_factory=Network)
    refinement: Losses | None = None
    weights: dict[str, float] = field(default_factory=dict)


@pytest.fixture
def load(tmp_path):
    def load_text(text="name: alice", *overrides):
        path = tmp_path / "experiment.yaml"
        path.write_text(text)
        return load_config(Experiment, path, overrides)

    return load_text


def test_defaults_file_and_overrides_in_that_order(load):
    config = load("name: alice\nsteps: 7\nlosses: {silhouette: 2}", "losses.silhouette=3", "preview=false")
    assert config == Experiment("alice", 7, False, losses=Losses(3.0))
    assert type(config.losses.silhouette) is float
    assert type(config.network) is Network
    assert type(config.capture) is type(Path())


def test_numbers_with_an_exponent_are_numbers(load):
    assert load("name: a\nlosses: {silhouette: 1e-4}").losses.silhouette == 1e-4
    assert load("name: a", "losses.silhouette=2E-5", "losses.normal=1e3").losses == Losses(2e-5, 1000.0)


def test_every_kind_of_value(load):
    text = (
        "name: '031'\nimage_size: [3, 4]\nnetwork: {widths: [8], activation: softplus}\nweights: {a: 1}\ncapture: x/y"
    )
    config = load(text, "refinement.silhouette=5", "losses.normal=null")
    assert config.name == "031"
    assert config.image_size == (3, 4)
    assert config.network == Network([8], "softplus")
    assert config.weights == {"a": 1.0}
    assert config.capture == Path("x/y")
    assert config.refinement == Losses(5.0)


def test_overrides_of_text_are_literal(load):
    assert load("name: a", "name=031").name == "031"
    assert load("name: a", "name=x=y: [").name == "x=y: ["
    assert load("name: a", "network.widths=[1, 2, 3]").network.widths == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nstepz: 3", r"experiment\.yaml: stepz: unknown key; did you mean steps\?"),
        ("name: a\nsilhouette: 3", r"silhouette: unknown key; did you mean losses\.silhouette\?"),
        ("name: a\nlosses: {qqq: 3}", r"losses\.qqq: unknown key; losses has silhouette, normal"),
        ("name: a\nsteps: 1.5", r"steps: expected a whole number, found 1\.5"),
        ("name: a\nsteps: many", r"steps: expected a whole number, found 'many'"),
        ("name: a\nlosses: {silhouette: [1]}", r"losses\.silhouette: expected a number, found \[1\]"),
        ("name: a\nlosses: {normal: x}", r"losses\.normal: expected a number or null, found 'x'"),
        ("name: a\nlosses: 3", r"losses: expected a section with the keys silhouette, normal, found 3"),
        ("name: a\npreview: maybe", r"preview: expected true or false, found 'maybe'"),
        ("name: a\nimage_size: [1, 2, 3]", r"image_size: expected tuple\[int, int\], found \[1, 2, 3\]"),
        ("name: a\nnetwork: {activation: tanh}", r"network\.activation: expected one of relu, softplus, found 'tanh'"),
        ("name: 031", r"name: expected text, found 25; put it in quotes"),
        ("name: a\nnetwork: {widths: 3}", r"network\.widths: expected a list such as \[a, b\], found 3"),
        ("steps: 3", r"experiment\.yaml: no value for name, which has no default"),
        ("name: a\nname: b", r"experiment\.yaml is not valid YAML: .*duplicate key name"),
        ("name: [", r"experiment\.yaml is not valid YAML"),
        ("- a", r"expected a mapping of keys"),
        ("name: ${nowhere}", r"nowhere"),
    ],
)
def test_what_is_wrong_is_named(load, text, message):
    with pytest.raises(InputError, match=message):
        load(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", r"command line: stepz: unknown key; did you mean steps\?"),
        ("steps=x", r"command line: steps: expected a whole number, found 'x'"),
        ("steps", r"command line: expected key=value, found 'steps'"),
        ("losses..normal=1", r"expected key=value"),
        ("network.widths=[1", r"the value of 'network\.widths=\[1' is not valid YAML"),
        ("losses.silhouette.x=1", r"losses\.silhouette: expected a number, found \{'x': 1\}"),
    ],
)
def test_wrong_overrides_are_named(load, override, message):
    with pytest.raises(InputError, match=message):
        load("name: a", override)


def test_all_problems_at_once(load):
    with pytest.raises(InputError) as caught:
        load("name: a\nsteps: x\nlosses: {silhouete: 1}")
    assert "steps: expected" in str(caught.value)
    assert "did you mean losses.silhouette?" in str(caught.value)


def test_a_missing_file_lists_its_neighbours(tmp_path):
    (tmp_path / "demo.yaml").write_text("name: a")
    with pytest.raises(InputError, match=r"no configuration file .*dmeo\.yaml: .* holds demo\.yaml"):
        load_config(Experiment, tmp_path / "dmeo.yaml")


@dataclass
class Data:
    capture: str
    color: Literal["off", "gain"] = "gain"


@dataclass
class Recording:
    name: str
    data: Data


def test_missing_keys_of_a_missing_section_are_named():
    with pytest.raises(InputError, match=r"command line: no value for data\.capture, name, which has no default; give"):
        load_config(Recording)


def test_a_word_that_yaml_reads_as_a_boolean_is_a_word(tmp_path):
    (tmp_path / "off.yaml").write_text("name: a\ndata: {capture: c, color: off}")
    assert load_config(Recording, tmp_path / "off.yaml").data.color == "off"
    assert load_config(Recording, None, ["name=a", "data.capture=c", "data.color=off"]).data.color == "off"
    with pytest.raises(InputError, match=r"data\.color: expected one of off, gain, found 'on'"):
        load_config(Recording, None, ["name=a", "data.capture=c", "data.color=on"])


@limited(steps=at_least(1), rate=between(0, 1), center=numbers(3), high=Limit("above low", lambda v, c: v > c.low))
@dataclass
class Limited:
    steps: int = 1
    rate: float = 0.5
    center: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    low: float = 0.0
    high: float = 1.0
    inner: Losses = field(default_factory=Losses)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=0", r"command line: steps: found 0, expected at least 1"),
        ("rate=-.5", r"rate: found -0\.5, expected 0 to 1"),
        ("rate=nan", r"rate: found nan, expected 0 to 1"),
        ("center=[1, 2]", r"center: found \[1\.0, 2\.0\], expected 3 numbers"),
        ("center=[1, 2, inf]", r"center: found .*, expected 3 numbers"),
        ("low=2", r"high: found 1\.0, expected above low"),
        ("inner.normal=nan", r"inner\.normal: found nan, expected finite numbers"),
    ],
)
def test_values_beyond_their_limits_are_named(override, message):
    assert load_config(Limited) == Limited()
    with pytest.raises(InputError, match=message):
        load_config(Limited, None, [override])


def test_saving_and_loading_gives_an_equal_config(tmp_path):
    config = Experiment("031", 5, losses=Losses(1e-9), refinement=Losses(), weights={"x": 1e-5}, image_size=(1, 2))
    save_config(config, tmp_path / "config.yaml")
    assert load_config(Experiment, tmp_path / "config.yaml") == config


def test_a_config_as_plain_values():
    assert config_to_dict(Losses(1e-5)) == {"silhouette": 1e-5, "normal": None}
    assert config_to_dict(Experiment("a"))["capture"] == "captures/demo"
