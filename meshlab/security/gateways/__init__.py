"""The mesh's edge: what its gateways let in and out, and the keys, tokens and callers that prove it."""
