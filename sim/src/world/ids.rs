//! From a member's id to the number of its node.

use shoal_wire::ids::MemberId;

const EMPTY: u32 = u32::MAX;

/// A table with open addressing. Ids are hashes already, so their first bytes say where to look; the order of the table
/// is never seen.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    slots: Vec<u32>,
    ids: Vec<MemberId>,
}

impl Ids {
    /// Numbers for these ids, in their order.
    pub(super) fn new(ids: Vec<MemberId>) -> Self {
        let mut table = Self { slots: vec![EMPTY; (ids.len() * 2).next_power_of_two().max(2)], ids };
        for number in 0..table.ids.len() {
            let slot = table.probe(table.ids[number]).find(|slot| table.slots[*slot] == EMPTY);
            if let Some(slot) = slot {
                table.slots[slot] = u32::try_from(number).expect("nodes are u32");
            }
        }
        table
    }

    /// The node of this id.
    pub(super) fn number(&self, id: MemberId) -> Option<u32> {
        for slot in self.probe(id) {
            let number = self.slots[slot];
            if number == EMPTY {
                return None;
            }
            if self.ids[number as usize] == id {
                return Some(number);
            }
        }
        None
    }

    /// The id of a node.
    pub(super) fn id(&self, node: u32) -> MemberId {
        self.ids[node as usize]
    }

    fn probe(&self, id: MemberId) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let start = u64::from_le_bytes(*id.0.first_chunk().expect("ids have 16 bytes"));
        // At least half of the slots are empty, so a search ends.
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let start = start as usize;
        (0..=mask).map(move |step| start.wrapping_add(step) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_its_number_also_where_ids_collide() {
        let id = |number: u8| MemberId([number % 3, 0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0]);
        let ids = Ids::new((0..50).map(id).collect());
        for number in 0..50 {
            assert_eq!(ids.number(id(number)), Some(u32::from(number)));
            assert_eq!(ids.id(u32::from(number)), id(number));
        }
        assert_eq!(ids.number(id(50)), None);
        assert_eq!(Ids::new(Vec::new()).number(id(0)), None);
    }
}
