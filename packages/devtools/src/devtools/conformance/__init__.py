"""`./dev conformance`: FastAPI's own test suite, run on the platform's application class.

`suite` fetches the source distribution that the lock file names and makes an environment for it,
`runs` runs it there, `differences` reads which tests are meant to fail, `report` compares. What is
in `injected` runs inside that environment and imports nothing from here.
"""
