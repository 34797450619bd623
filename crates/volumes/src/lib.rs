//! Controller operations: create, delete, expand, list and validate volumes.
