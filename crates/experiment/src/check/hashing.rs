//! Balancers that hash: what a key of its own does to one instance.

use meshsim_mesh::Mesh;
use meshsim_mesh::model::Balancer;

use super::{Checked, ServiceEstimate, Warnings, and_more, plain};

/// Terms of the sum over all ranks that are added one by one; the others are taken as an integral.
const TERMS_MAX: u32 = 10_000;

pub(super) fn look(checked: &Checked<'_>, services: &[ServiceEstimate], warnings: &mut Warnings<'_>) {
    for (service, estimate) in checked.experiment.mesh.services.iter().zip(services) {
        let name = &service.name;
        if let Balancer::Maglev { table_size, .. } = service.balancer
            && service.instances > table_size
        {
            let message =
                format!("`{name}` has {} instances but a Maglev table of {table_size} places", service.instances);
            warnings.warn("table", None, format!("{message}: the others get no request"));
        }
        let Some(keys) = service.balancer.keys() else { continue };
        let Some(count) = keys.count else { continue };
        let (share, slots) = (most_frequent(count.get(), keys.skew), service.capacity.round().max(1.0));
        let held = share * estimate.rate * estimate.slot_time;
        if held >= slots && service.instances > 1 {
            let message = format!(
                "the most frequent key of `{name}` alone, {}% of its requests, needs {} slots of one instance; that has {slots}",
                plain(share * 100.0),
                plain(held)
            );
            warnings.warn("hot_key", None, message);
        }
    }
}

/// The sentence for what is not modelled, if a service that has load is balanced by hashing.
pub(super) fn left_out(mesh: &Mesh, services: &[ServiceEstimate]) -> Option<String> {
    let all = mesh.services.iter().zip(services);
    let hashing: Vec<_> =
        all.filter(|(it, estimate)| it.balancer.keys().is_some() && it.instances > 1 && estimate.rate > 0.0).collect();
    let (first, _) = hashing.first()?;
    Some(format!(
        "Shares of a hash: instances of `{}`{} count as if all got the same share of the requests.",
        first.name,
        and_more(hashing.len())
    ))
}

/// Share of the requests that has the most frequent of `n` keys, if the one of rank r has r^-s as its weight.
fn most_frequent(n: u32, s: f64) -> f64 {
    let first = n.min(TERMS_MAX);
    let sum: f64 = (1..=first).map(|rank| f64::from(rank).powf(-s)).sum();
    let (from, to) = (f64::from(first) + 0.5, f64::from(n) + 0.5);
    let rest =
        if (s - 1.0).abs() < 1e-9 { (to / from).ln() } else { (to.powf(1.0 - s) - from.powf(1.0 - s)) / (1.0 - s) };
    1.0 / (sum + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_key_has_its_share_by_zipfs_law() {
        for (n, s, share) in [(4, 0.0, 0.25), (3, 1.0, 6.0 / 11.0), (2, 2.0, 0.8), (1_000_000, 0.0, 1e-6)] {
            assert!((most_frequent(n, s) / share - 1.0).abs() < 1e-9, "{n} {s}: {}", most_frequent(n, s));
        }
        // The harmonic number of a million is 14.392727.
        assert!((most_frequent(1_000_000, 1.0) * 14.392_727 - 1.0).abs() < 1e-6);
    }
}
