//! A real server on a free port, and users to talk to it, for black-box tests.
