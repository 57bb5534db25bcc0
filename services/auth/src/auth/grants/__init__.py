"""What the OAuth 2.0 endpoints do, by grant and endpoint.

`password.py`, `refresh.py` and `client_credentials.py` are the grant types of the token endpoint
(RFC 6749, sections 4.3, 6 and 4.4), `revocation.py` is RFC 7009, `introspection.py` RFC 7662;
`issuing.py` is what the grants share. Each function works within the caller's unit of work. A
refusal that leaves something behind (an audit event, an ended session) is committed before it is
raised.
"""
