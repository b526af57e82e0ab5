//! The rows of fan-outs and of all that belongs to them.

use flowstone_core::Result;

use super::super::body::Packer;
use super::super::stage::Staged;
use super::super::statements::Target;
use super::super::word;
use super::{Encoder, json, nanos, set_bytes};

impl Encoder {
    pub(super) fn fan_outs(&mut self, staged: &Staged<'_>) -> Result<()> {
        self.standings(staged)?;
        for (number, shared) in &staged.shared {
            let (row, heap) = self.row(Target::FanOutShared);
            row.int(*number).bytes(heap, shared);
        }
        for (number, chunk) in &staged.claims_gone {
            let (row, _) = self.row(Target::ItemClaimGone);
            row.int(*number).uint(*chunk);
        }
        for ((number, chunk), claim) in &staged.claims {
            let (row, heap) = self.row(Target::ItemClaim);
            row.int(*number)
                .uint(*chunk)
                .int(claim.crashes.into())
                .int(claim.is_held.into());
            row.bytes(heap, &claim.items.to_bytes());
        }
        self.bodies(staged);
        self.failed_items(staged)
    }

    fn standings(&mut self, staged: &Staged<'_>) -> Result<()> {
        let mut in_order: Vec<_> = staged.fan_outs.values().collect();
        in_order.sort_unstable_by_key(|known| known.number);
        for known in in_order {
            let standing = &known.standing;
            let fan_out = &standing.row;
            let (counts, options) = (json(&fan_out.counts)?, json(&fan_out.options)?);
            let error = fan_out.error.as_ref().map(json).transpose()?;
            let cursor = fan_out.cursor.as_ref().map(|cursor| {
                let mut bytes = vec![cursor.version];
                bytes.extend_from_slice(&cursor.position);
                bytes
            });
            let parent = fan_out.parent.as_ref().map(|(parent, _)| &parent.0.as_bytes()[..]);
            let (row, heap) = self.row(Target::FanOut);
            row.int(known.number).fixed(heap, fan_out.fan_out.0.as_bytes());
            row.int(known.run).int(fan_out.asset.0.into()).uint(fan_out.partition);
            row.bytes_or_null(heap, parent)
                .uint_or_null(fan_out.parent.map(|(_, item)| item));
            row.int(fan_out.epoch.into())
                .int(word::of_barrier_state(fan_out.state))
                .int(fan_out.is_sealed.into());
            row.uint(standing.items).uint(standing.next_chunk);
            row.int(nanos(fan_out.opened_at))
                .int(nanos(fan_out.moved_at))
                .int_or_null(fan_out.on_schedule_at.map(nanos));
            row.bytes(heap, &counts).bytes(heap, &options);
            row.bytes_or_null(heap, error.as_deref())
                .bytes_or_null(heap, cursor.as_deref());
            row.uint(fan_out.redriven);
        }
        Ok(())
    }

    fn bodies(&mut self, staged: &Staged<'_>) {
        let mut packer = Packer::new();
        for (number, page) in &staged.pages {
            let (row, heap) = self.row(Target::ItemPage);
            row.int(*number).uint(page.first).uint(page.len);
            row.bytes_or_null(heap, set_bytes(&page.batch_starts).as_deref());
            row.bytes_or_null(heap, packer.pack(&page.body).as_deref());
        }
        for (number, segment) in &staged.segments {
            let (row, heap) = self.row(Target::Segment);
            row.int(*number)
                .uint(segment.page)
                .uint(segment.chunk)
                .int(segment.seq.into());
            row.bytes_or_null(heap, set_bytes(&segment.succeeded).as_deref());
            row.bytes_or_null(heap, set_bytes(&segment.skipped).as_deref());
            row.bytes_or_null(heap, packer.pack(&segment.body).as_deref());
        }
    }

    fn failed_items(&mut self, staged: &Staged<'_>) -> Result<()> {
        for ((number, item), failure) in &staged.failed_items {
            let error = json(&failure.error)?;
            let (row, heap) = self.row(Target::FailedItem);
            row.int(*number).uint(*item);
            row.int(failure.epoch.into())
                .int(failure.attempt.into())
                .int(failure.is_final.into())
                .int(nanos(failure.at));
            row.bytes(heap, failure.key.as_bytes()).bytes(heap, &error);
        }
        Ok(())
    }
}
