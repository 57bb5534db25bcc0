"""`./dev new`: a service, or a further entity of one, from a list of fields.

- `command.py` is the command.
- `names.py` says which names there can be, and makes one form of a name from another.
- `fields.py` reads fields, and knows of each type what a column, a body and a test need.
- `rendering.py` renders the templates, and reads from the workspace what they need.
- `placing.py` puts what was rendered into the workspace, and registers an entity.
"""
