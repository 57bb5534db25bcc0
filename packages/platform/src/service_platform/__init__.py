"""Everything a service needs and nobody wants to write twice."""
