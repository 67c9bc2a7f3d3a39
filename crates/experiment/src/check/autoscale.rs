//! Autoscalers: not modelled.

use super::{Checked, Warnings};

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    for service in &mesh.services {
        let Some(autoscale) = &service.autoscale else { continue };
        let (name, (min, max)) = (&service.name, autoscale.range());
        let message =
            format!("the autoscaler of `{name}` is not modelled: the figures are those of its instances without it");
        warnings.warn("autoscale", None, message);
        if !(min..=max).contains(&service.instances) && service.instances > 0 {
            let message = format!(
                "`{name}` begins with {} instances, and its autoscaler keeps it between {min} and {max}",
                service.instances
            );
            warnings.warn("autoscale", None, message);
        }
        if service.instances == 0 {
            let message = format!("`{name}` begins with no instance, and an autoscaler of Kubernetes leaves it so");
            warnings.warn("autoscale", None, message);
        }
    }
}
