//! meshsim benches
