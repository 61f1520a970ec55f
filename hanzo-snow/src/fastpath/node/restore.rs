//! The own state after a restart.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::FastPath;
use crate::checkpoint::Hash;
use crate::committee::{Sign, VerifyAll};
use crate::fastpath::certificate::{Ack, Certificate};
use crate::fastpath::vertex::Vertex;
use crate::store::{Entry, EntryKind};
use crate::wire::{Decoder, WireError};

impl<A: Sign + VerifyAll> FastPath<A> {
    /// Takes up acknowledgements, locks and certificates of this epoch from what was kept. Rounds up to `floor` are settled.
    ///
    /// # Errors
    /// [`WireError`] for an entry that was not written here.
    pub fn restore(&mut self, entries: &[Entry], floor: u64) -> Result<(), WireError> {
        let mine = |bytes: &[u8]| {
            Decoder::open(bytes)
                .is_ok_and(|(_, chain, epoch, _)| chain == *self.committee.chain() && epoch == self.committee.epoch())
        };
        self.dag.forget(floor);
        let mut certificates: BTreeMap<(u64, Hash), (Certificate, Vertex)> = BTreeMap::new();
        let mut acks = Vec::new();
        for entry in entries.iter().filter(|entry| mine(&entry.bytes)) {
            let (kind, chain, epoch, mut decoder) = Decoder::open(&entry.bytes)?;
            match (entry.kind, kind) {
                (EntryKind::Ack, b"acked") => {
                    let vertex = Vertex::read(&mut decoder, &chain, epoch)?;
                    let ack = Ack::read(&mut decoder)?;
                    decoder.end()?;
                    acks.push((entry.id, vertex, ack));
                }
                (EntryKind::Certificate, b"certified") => {
                    let certificate = Certificate::read(&mut decoder)?;
                    let vertex = Vertex::read(&mut decoder, &chain, epoch)?;
                    decoder.end()?;
                    certificates.insert((certificate.round, entry.id), (certificate, vertex));
                }
                (EntryKind::Ack | EntryKind::Certificate, _) => return Err(WireError::Malformed { field: "kind" }),
                _ => {}
            }
        }
        for (id, vertex, ack) in acks {
            for (index, (tx, tx_id)) in (0..).zip(vertex.txs().iter().zip(vertex.tx_ids())) {
                if ack.has(index) && tx.keys().iter().any(|key| !self.locks.contains_key(key)) {
                    self.lock_keys(tx, tx_id);
                }
            }
            let (round, author) = (vertex.round(), vertex.author());
            if round <= floor {
                continue;
            }
            if Some(author) == self.own && self.own_vertex.as_ref().is_none_or(|(_, own)| own.round() < round) {
                self.own_vertex = Some((id, vertex.clone()));
            }
            if Some(author) == self.own {
                for (tx, tx_id) in vertex.txs().iter().zip(vertex.tx_ids()) {
                    self.in_flight.insert(*tx_id, (round, tx.clone()));
                }
            }
            self.acked.insert((round, author), (id, ack, 0));
            self.vertices.insert(id, vertex);
        }
        for ((round, id), (certificate, vertex)) in certificates {
            if round <= floor {
                continue;
            }
            self.vertices.insert(certificate.vertex, vertex.clone());
            let Ok(parents) = self.dag.parents(&self.committee, &vertex) else { continue };
            self.dag.insert(&self.committee, id, certificate, vertex, parents);
            self.check_claims(&id);
            for covered in self.dag.cover(&id) {
                self.tell(&covered);
            }
        }
        let round = self.own_vertex.as_ref().map_or(1, |(_, vertex)| vertex.round());
        self.enter(round.max(self.dag.last_full_round()).max(1));
        if let Some((id, vertex)) = &self.own_vertex {
            // Own acknowledgement counts again; the others answer the vertex when it is sent again.
            if let Some((known, ack, _)) = self.acked.get(&(vertex.round(), vertex.author()))
                && known == id
            {
                self.own_acks.insert(ack.acker, ack.clone());
            }
        }
        Ok(())
    }
}
