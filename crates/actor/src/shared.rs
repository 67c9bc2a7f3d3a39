//! Serialises each value behind an [`Arc`] once, however many actors hold it. Snapshots of a whole run need this.
//!
//! The actors of a run share many values: the mesh, the latest view of the instances. A field that holds such a value
//! is marked `#[serde(with = "meshsim_actor::shared")]`. Inside [`writing`], the first occurrence of a shared value is
//! written in full and gets a number; later occurrences write the number. Inside [`reading`], each value is created
//! once and shared by the same owners. So a run that is read back takes no more bytes and memory than the original, and
//! [`Arc::ptr_eq`] gives the same answers.
//!
//! Outside both, as in messages on a wire, a marked field is written and read like any other.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A shared value in bytes.
#[derive(Serialize, Deserialize)]
enum Written<T> {
    /// The first occurrence, in full.
    First(T),
    /// A later occurrence: the number, from 0, in the order in which values were completed.
    Again(u32),
}

/// The shared values written or read so far.
enum Met {
    /// The number of each value, by address; and the value itself, so that no other value gets its address meanwhile.
    Writing(BTreeMap<usize, (u32, Box<dyn Any>)>),
    /// Each is an `Arc` of its own type.
    Reading(Vec<Box<dyn Any>>),
}

thread_local! {
    static MET: RefCell<Option<Met>> = const { RefCell::new(None) };
}

/// Restores the previous state, also after a panic.
struct Restore(Option<Met>);

impl Drop for Restore {
    fn drop(&mut self) {
        MET.set(self.0.take());
    }
}

/// Calls `write`, and writes each shared value once inside it. Its bytes must be read inside one [`reading`].
pub fn writing<R>(write: impl FnOnce() -> R) -> R {
    let _restore = Restore(MET.replace(Some(Met::Writing(BTreeMap::new()))));
    write()
}

/// Calls `read`, which reads the bytes that were written inside [`writing`].
pub fn reading<R>(read: impl FnOnce() -> R) -> R {
    let _restore = Restore(MET.replace(Some(Met::Reading(Vec::new()))));
    read()
}

/// Serialises the value, for `#[serde(with = "meshsim_actor::shared")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T, S>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + ?Sized + 'static,
    S: Serializer,
{
    let address = Arc::as_ptr(value).cast::<()>() as usize;
    let met = MET.with_borrow(|met| match met {
        Some(Met::Writing(numbers)) => Some(numbers.get(&address).map(|(number, _)| *number)),
        _ => None,
    });
    match met {
        None => value.serialize(serializer),
        Some(Some(number)) => Written::<&T>::Again(number).serialize(serializer),
        Some(None) => {
            // The values that it shares itself are completed, and numbered, before it.
            let written = Written::First(&**value).serialize(serializer)?;
            MET.with_borrow_mut(|met| {
                if let Some(Met::Writing(numbers)) = met {
                    numbers.insert(address, (numbers.len() as u32, Box::new(value.clone())));
                }
            });
            Ok(written)
        }
    }
}

/// Deserialises the value, for `#[serde(with = "meshsim_actor::shared")]`.
///
/// # Errors
/// Those of the deserializer. Inside [`reading`], also a number that no value of this type has.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Arc<T>, D::Error>
where
    T: ?Sized + 'static,
    Arc<T>: Deserialize<'de>,
    D: Deserializer<'de>,
{
    if !MET.with_borrow(|met| matches!(met, Some(Met::Reading(_)))) {
        return Arc::deserialize(deserializer);
    }
    let written = Written::<Arc<T>>::deserialize(deserializer)?;
    MET.with_borrow_mut(|met| match (written, met) {
        (Written::First(value), Some(Met::Reading(things))) => {
            things.push(Box::new(value.clone()));
            Ok(value)
        }
        (Written::Again(number), Some(Met::Reading(things))) => {
            let thing = things.get(number as usize).and_then(|thing| thing.downcast_ref::<Arc<T>>());
            thing.cloned().ok_or_else(|| D::Error::custom("refers to something that does not come before it"))
        }
        _ => Err(D::Error::custom("shared things are not being read any more")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner(#[serde(with = "super")] Arc<[u8]>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        #[serde(with = "super")]
        one: Arc<Inner>,
        #[serde(with = "super")]
        same: Arc<Inner>,
        #[serde(with = "super")]
        equal: Arc<Inner>,
        #[serde(with = "super")]
        inside: Arc<[u8]>,
    }

    fn outer() -> Outer {
        let inside: Arc<[u8]> = Arc::new([1, 2, 3]);
        let one = Arc::new(Inner(inside.clone()));
        Outer { same: one.clone(), one, equal: Arc::new(Inner(Arc::new([1, 2, 3]))), inside }
    }

    #[test]
    fn shared_values_are_written_once_and_equal_values_are_not_merged() {
        let bytes = writing(|| json(&outer()));
        let read: Outer = reading(|| serde_json::from_str(&bytes)).unwrap();
        assert_eq!(read, outer());
        assert!(Arc::ptr_eq(&read.one, &read.same) && Arc::ptr_eq(&read.one.0, &read.inside));
        assert!(!Arc::ptr_eq(&read.one, &read.equal) && !Arc::ptr_eq(&read.one.0, &read.equal.0));
        assert_eq!(bytes.matches("1,2,3").count(), 2, "{bytes}");
    }

    #[test]
    fn elsewhere_it_is_written_like_any_other_field() {
        let plain = json(&outer());
        assert_eq!(plain, r#"{"one":[1,2,3],"same":[1,2,3],"equal":[1,2,3],"inside":[1,2,3]}"#);
        assert_eq!(serde_json::from_str::<Outer>(&plain).unwrap(), outer());
    }

    #[test]
    fn a_number_that_nothing_of_this_type_has_is_refused() {
        for forged in [r#"{"Again":0}"#, r#"{"Again":7}"#] {
            let text = format!(r#"{{"one":{{"First":{{"First":[1]}}}},"same":{forged},"equal":{forged},"inside":[]}}"#);
            assert!(reading(|| serde_json::from_str::<Outer>(&text)).is_err(), "{text}");
        }
    }

    #[test]
    fn one_inside_another_leaves_it_as_it_was() {
        let kept = outer();
        writing(|| {
            let first = json(&kept);
            assert_eq!(writing(|| json(&kept)), first);
            assert!(json(&kept).starts_with(r#"{"one":{"Again":1},"#), "{}", json(&kept));
        });
    }

    #[test]
    fn a_dropped_value_is_not_taken_for_a_later_one() {
        let bytes = writing(|| [1, 2, 3].map(|it| json(&Inner(Arc::new([it])))));
        assert_eq!(bytes, [r#"{"First":[1]}"#, r#"{"First":[2]}"#, r#"{"First":[3]}"#]);
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }
}
