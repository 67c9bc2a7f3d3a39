//! The public interface of the gateway, as programs meet it.

use std::fs;
use std::path::Path;

/// A change of the document is a change of the interface: it shows here, and `MESHSIM_BLESS=1` takes it over.
#[test]
fn the_document_is_the_one_that_was_last_looked_at() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    let document = serde_json::to_string_pretty(meshsim_gateway::openapi()).unwrap() + "\n";
    if std::env::var_os("MESHSIM_BLESS").is_some() {
        fs::write(&path, document).unwrap();
        return;
    }
    let looked_at = fs::read_to_string(&path).unwrap();
    let differs = looked_at.lines().zip(document.lines()).position(|(old, new)| old != new);
    assert!(
        looked_at == document,
        "the interface differs from line {} of {}: look at it, and take it over with MESHSIM_BLESS=1",
        differs.map_or(looked_at.lines().count(), |at| at) + 1,
        path.display()
    );
}
