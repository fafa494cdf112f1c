//! What is SQLite's alone; what every store does is in the conformance suite.
