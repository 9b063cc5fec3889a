"""Keys that make heads of the demo's presets small enough to train in seconds."""

SMALL_HEAD = [
    "head.edge_mm=30",
    "head.geometry={width: 32, layers: 3}",
    "head.fields={feature_size: 16, color_size: 8, expression_color: {width: 32, layers: 2}}",
    "head.fields.pose_color={width: 16, layers: 1}",
    "head.fields.expression_deform={width: 32, layers: 3}",
    "head.fields.pose_deform={width: 32, layers: 2}",
    "training.sphere_steps=100",
]
SMALL_GAUSSIANS = [
    "head.mouth_points=50",
    "head.transfer_edge_mm=20",
    "head.decoder.capacity=4",
    "head.expression_attributes={width: 32, layers: 2}",
    "head.pose_attributes={width: 16, layers: 2}",
]
