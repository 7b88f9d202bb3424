//! The proxy seen from outside: what the client got, what the origin saw, what the record says.
