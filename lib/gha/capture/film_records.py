"""Columns of the records that the film kernels pass to each other."""

TILE = 32  # pixels; the samples of a tile stay in the processor's cache

# Columns of a triangle record: three corners of CORNER values each, then values of the whole triangle.
NEAREST = 9
CORNER = 10  # x, y (samples), 1/z, then over z: normal x y z, openness, u, v; the ninth of the first
# corner is the nearest 1/z of the triangle
GRAD_U, GRAD_V, MIP, MATERIAL, RECORD = 30, 33, 36, 37, 38

# Columns of a material record.
FIRST_LEVEL, LEVEL_COUNT, SPECULAR, GLOSS, RELIEF, STRAND, TWO_SIDED, MATERIAL_RECORD = 0, 1, 2, 3, 4, 5, 6, 7

# Columns of the lighting record.
SKY, GROUND, KEY_DIRECTION, KEY, FILL_DIRECTION, FILL, WRAP, LIGHT_RECORD = 0, 3, 6, 9, 12, 15, 18, 19
