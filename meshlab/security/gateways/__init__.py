"""The mesh's gateways: what they let in and out, and the keys, tokens and callers that prove it."""
