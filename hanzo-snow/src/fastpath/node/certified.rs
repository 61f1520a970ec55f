//! Certificates that are taken, told of, compared and fetched.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{FastPath, Waiting, Want};
use crate::checkpoint::Hash;
use crate::committee::{Sign, VerifyAll};
use crate::evidence::Evidence;
use crate::fastpath::certificate::Certificate;
use crate::fastpath::messages::{FastMessage, FastOutput, MAX_GET, TxPlace};
use crate::fastpath::vertex::Vertex;
use crate::store::{Entry, EntryKind, Record};

impl<A: Sign + VerifyAll> FastPath<A> {
    /// Takes a checked certificate with its vertex as soon as all it stands on is held, and then what waited for it.
    pub(super) fn complete(&mut self, certificate: Certificate, vertex: Vertex) {
        let mut ready = alloc::vec![(certificate, vertex)];
        let mut taken = false;
        while let Some((certificate, vertex)) = ready.pop() {
            let id = certificate.id(&self.committee);
            if self.dag.held(&id).is_some() {
                continue;
            }
            let missing: Vec<Hash> = self.dag.missing(&vertex).copied().collect();
            if !missing.is_empty() {
                for parent in missing {
                    self.want(parent, certificate.author);
                }
                self.incomplete.insert(id, (certificate, vertex));
                continue;
            }
            if !self.dag.parents_fit(&self.committee, &vertex) {
                // A quorum has acknowledged what no honest validator does.
                continue;
            }
            self.insert(id, certificate, vertex);
            taken = true;
            if !self.incomplete.is_empty() {
                let complete: Vec<Hash> = self
                    .incomplete
                    .iter()
                    .filter(|(_, (_, vertex))| self.dag.missing(vertex).next().is_none())
                    .map(|(id, _)| *id)
                    .collect();
                ready.extend(complete.iter().filter_map(|id| self.incomplete.remove(id)));
            }
        }
        if taken && !self.waiting.is_empty() {
            let limit = self.round.saturating_add(self.config.ahead);
            let mut complete: Vec<(u64, u32)> = Vec::new();
            for (key, Waiting { vertex, lacks }) in self.waiting.iter_mut().filter(|(key, _)| key.0 <= limit) {
                if self.dag.lacks(vertex, lacks) {
                    continue;
                }
                match self.dag.missing(vertex).next() {
                    Some(parent) => *lacks = *parent,
                    None => complete.push(*key),
                }
            }
            for key in complete {
                if let Some(Waiting { vertex, .. }) =
                    self.waiting.remove(&key).filter(|_| !self.acked.contains_key(&key))
                {
                    let id = vertex.id(&self.committee);
                    // Refused if its parents do not fit; then it is dropped.
                    let _ = self.acknowledge(id, vertex);
                }
            }
        }
    }

    fn insert(&mut self, id: Hash, certificate: Certificate, vertex: Vertex) {
        self.wanted.remove(&id);
        self.bare.remove(&(certificate.round, certificate.author));
        let mut encoder = self.committee.encoder("certified");
        certificate.write(&mut encoder);
        vertex.write(&mut encoder);
        let bytes: Arc<[u8]> = encoder.finish().into();
        let entry = Entry { kind: EntryKind::Certificate, number: certificate.round, id, bytes };
        self.persist(alloc::vec![Record::Entry(entry)], Vec::new());
        let round = certificate.round;
        self.vertices.insert(certificate.vertex, vertex.clone());
        self.dag.insert(&self.committee, id, certificate, vertex);
        self.check_claims(&id);
        for covered in self.dag.cover(&id) {
            self.tell(&covered);
        }
        if round >= self.round && self.full_since.is_none() && self.is_full(self.round) {
            self.full_since = Some(self.now);
        }
    }

    /// Tells of the transactions of a certificate on which a later one stands.
    pub(super) fn tell(&mut self, id: &Hash) {
        let Some(held) = self.dag.held(id) else { return };
        for &index in &held.certified {
            let (Some(tx), Some(&id)) =
                (held.vertex.txs().get(index as usize), held.vertex.tx_ids().get(index as usize))
            else {
                continue;
            };
            if self.told.insert(id, true).is_none() {
                let (round, author) = (held.vertex.round(), held.vertex.author());
                self.outputs.push_back(FastOutput::Certified(TxPlace { id, round, author, index, tx: tx.clone() }));
            }
        }
    }

    /// Looks for validators that acknowledged two transactions with one key.
    pub(super) fn check_claims(&mut self, id: &Hash) {
        let mut found = Vec::new();
        let Some(held) = self.dag.held(id) else { return };
        for (index, (tx, tx_id)) in (0_u32..).zip(held.vertex.txs().iter().zip(held.vertex.tx_ids())) {
            for key in tx.keys() {
                let (first_tx, first_id, first_index) = *self.claims.entry(*key).or_insert((*tx_id, *id, index));
                if first_tx == *tx_id {
                    continue;
                }
                let Some(first) = self.dag.held(&first_id) else { continue };
                let Some(other) = first.vertex.txs().get(first_index as usize) else { continue };
                for signer in
                    held.certificate.signers.iter().filter(|signer| first.certificate.signers.contains(*signer))
                {
                    let (Some(one), Some(two)) = (first.certificate.ack(signer), held.certificate.ack(signer)) else {
                        continue;
                    };
                    if one.has(first_index) && two.has(index) {
                        found.push(Evidence::Conflict {
                            first: (one, first.vertex.signed().clone(), first_index, other.header()),
                            second: (two, held.vertex.signed().clone(), index, tx.header()),
                        });
                    }
                }
            }
        }
        for evidence in found {
            self.accuse(evidence);
        }
    }

    /// Asks for a certificate, first the peer that named it.
    pub(crate) fn want(&mut self, id: Hash, from: u32) {
        let most = 16 * self.committee.len() * (2 + self.config.ahead as usize);
        if self.dag.held(&id).is_some() || self.incomplete.contains_key(&id) || self.wanted.len() >= most {
            return;
        }
        self.wanted.entry(id).or_insert(Want { at: self.now, next: from });
    }

    pub(super) fn fetch(&mut self) {
        let n = self.committee.len() as u32;
        let mut asks: BTreeMap<u32, Vec<Hash>> = BTreeMap::new();
        for (id, want) in self.wanted.iter_mut().filter(|(_, want)| want.at <= self.now) {
            if Some(want.next) == self.own {
                want.next = (want.next + 1) % n;
            }
            if Some(want.next) != self.own {
                asks.entry(want.next).or_default().push(*id);
            }
            want.next = (want.next + 1) % n;
            want.at = self.now.after(self.config.resend);
        }
        for (to, ids) in asks {
            for ids in ids.chunks(MAX_GET) {
                self.outputs.push_back(FastOutput::Send { to, message: FastMessage::Get(ids.to_vec()) });
            }
        }
    }
}
