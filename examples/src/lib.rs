//! meshsim examples
