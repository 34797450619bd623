//! Node operations: stage, publish, expand, measure and take down volumes.
