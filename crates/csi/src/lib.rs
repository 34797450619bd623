//! The CSI protocol: our .proto files, generated code and redacted Debug.
