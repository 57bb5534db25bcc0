"""API documentation pages served by the service itself: `/docs`, `/redoc`, the OpenAPI document.

Nothing is loaded from another host and no script stands in a page, so the pages work offline and
under a strict Content-Security-Policy. `assets/` holds Swagger UI and Redoc as published on npm
(licences beside them), compressed; `./dev vendor` replaces them by other versions.
"""

from service_platform.api_docs.assets import asset_routes
from service_platform.api_docs.pages import install_docs

__all__ = ["asset_routes", "install_docs"]
