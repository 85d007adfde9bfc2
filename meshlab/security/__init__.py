"""What proves that a mesh is secure: mutual TLS, authorization, gateways, and the audit of best practices."""
