"""`python -m devtools.openapi_document users.app:create_app`: its OpenAPI document as JSON."""

import json
import sys

from service_platform.server.loading import load_factory

if __name__ == "__main__":
    sys.stdout.write(json.dumps(load_factory(sys.argv[1])().openapi()))
