"""Files that are made from what the services declare: `./dev fix` writes, `./dev check` compares.

`templates/` has a file for each, at the place where it goes; `rendering.py` fills them in,
`images.py` keeps the lists of images, `files.py` knows all of them.
"""
