"""One address for the whole local system: a gateway before the services, and a front page.

`production_routes` reads which path leads where from the manifests of production. `configuration`
makes of it what Caddy is told, with `problems` for what the gateway answers itself. `starting` says
what `./dev up` runs: Caddy, and `front_page`, which serves the page at `/` from `overview`,
`access_log` and `demo_logins`, and the OpenAPI documents (`api_documents`).
"""
