//! The nouns of the driver: handles, names, sizes, secrets and error classes.
