//! tonic services, the checking boundary and the dispatcher.
