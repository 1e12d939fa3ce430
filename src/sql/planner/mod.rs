//! Binds statements and builds the job graph.
