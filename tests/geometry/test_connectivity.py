import torch

from gha.geometry import (
    connected_components,
    euler_characteristic,
    face_adjacency,
    is_closed,
    largest_component,
    unique_edges,
)

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
TWO_FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def test_edges_of_two_faces():
    edges, uses, of_face = unique_edges(TWO_FACES)
    assert edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert uses.tolist() == [1, 1, 2, 1, 1]
    # From each corner to the next: 0-1, 1-2, 2-0 and 2-1, 1-3, 3-2.
    assert of_face.tolist() == [[0, 2, 1], [2, 3, 4]]


def test_adjacent_faces():
    assert face_adjacency(TWO_FACES).tolist() == [[0, 1]]
    pairs = {tuple(sorted(pair)) for pair in face_adjacency(TETRAHEDRON).tolist()}
    assert pairs == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_an_edge_of_three_faces_makes_no_pair():
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    assert face_adjacency(fan).shape == (0, 2)


def test_closedness():
    assert is_closed(TETRAHEDRON)
    assert not is_closed(TETRAHEDRON[1:])
    flipped = TETRAHEDRON.clone()
    flipped[0] = flipped[0].flip(0)
    assert not is_closed(flipped)
    assert not is_closed(torch.cat([TETRAHEDRON, TETRAHEDRON]))


def test_euler_characteristic():
    assert euler_characteristic(TETRAHEDRON) == 2
    assert euler_characteristic(TETRAHEDRON[1:]) == 1  # a disc
    assert euler_characteristic(torch.cat([TETRAHEDRON, TETRAHEDRON + 4])) == 4


def test_components_and_the_largest():
    triangles = torch.cat([TWO_FACES + 1, TETRAHEDRON + 6])
    labels = connected_components(triangles, 11)
    assert labels[1:5].unique().numel() == 1
    assert labels[6:10].unique().numel() == 1
    assert labels.unique().numel() == 5  # two meshes and the unused vertices 0, 5, 10
    ids, local = largest_component(triangles, 11)
    assert ids.tolist() == [6, 7, 8, 9]
    assert torch.equal(local, TETRAHEDRON)


def test_largest_component_of_nothing_is_nothing():
    ids, local = largest_component(torch.zeros(0, 3, dtype=torch.int64), 5)
    assert ids.numel() == 0
    assert local.shape == (0, 3)
