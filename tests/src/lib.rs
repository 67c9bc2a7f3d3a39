//! meshsim tests
