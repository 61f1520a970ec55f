//! Certificates that are taken, told of, compared and fetched.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{FastPath, Waiting};
use crate::checkpoint::Hash;
use crate::committee::{Sign, VerifyAll};
use crate::evidence::Evidence;
use crate::fastpath::certificate::Certificate;
use crate::fastpath::dag::{Parents, ParentsError};
use crate::fastpath::messages::{FastMessage, FastOutput, MAX_GET, TxPlace};
use crate::fastpath::vertex::Vertex;
use crate::store::{Entry, EntryKind, Record};

impl<A: Sign + VerifyAll> FastPath<A> {
    /// Takes a checked certificate with its vertex as soon as all it stands on is held, and then what waited for it.
    pub(super) fn complete(&mut self, certificate: Certificate, vertex: Vertex) {
        let id = certificate.id(&self.committee);
        if self.take_one(id, certificate, vertex) {
            self.take_up();
        }
    }

    /// Takes a certificate, or puts it by; whether it is held now.
    fn take_one(&mut self, id: Hash, certificate: Certificate, vertex: Vertex) -> bool {
        if self.dag.contains(&id) {
            return false;
        }
        match self.dag.parents(&self.committee, &vertex) {
            Ok(parents) => {
                self.insert(id, certificate, vertex, parents);
                true
            }
            Err(ParentsError::Missing(missing)) => {
                self.wanted.remove(&id);
                for parent in missing {
                    self.want(parent, certificate.round - 1, certificate.author);
                }
                self.incomplete.insert(id, (certificate, vertex));
                false
            }
            // A quorum has acknowledged what no honest validator does.
            Err(ParentsError::Unfit) => false,
        }
    }

    /// Takes the certificates and acknowledges the vertices that waited for what is held by now.
    pub(super) fn take_up(&mut self) {
        while !self.incomplete.is_empty() {
            let ready = self.incomplete.iter().filter(|(_, (_, vertex))| self.dag.first_missing(vertex).is_none());
            let ready: Vec<Hash> = ready.map(|(id, _)| *id).collect();
            if ready.is_empty() {
                break;
            }
            for id in ready {
                if let Some((certificate, vertex)) = self.incomplete.remove(&id) {
                    self.take_one(id, certificate, vertex);
                }
            }
        }
        let limit = self.round.saturating_add(self.config.ahead);
        let mut complete: Vec<(u64, u32)> = Vec::new();
        for (key, Waiting { vertex, lacks }) in self.waiting.iter_mut().filter(|(key, _)| key.0 <= limit) {
            if self.dag.lacks(vertex, lacks) {
                continue;
            }
            match self.dag.first_missing(vertex) {
                Some(parent) => *lacks = parent,
                None => complete.push(*key),
            }
        }
        for key in complete {
            if let Some(Waiting { vertex, .. }) = self.waiting.remove(&key)
                && !self.acked.contains_key(&key)
                && self.dag.parents(&self.committee, &vertex).is_ok()
            {
                let id = vertex.id(&self.committee);
                // Refused only where nothing can be signed; it comes again.
                let _ = self.acknowledge(id, vertex);
            }
        }
    }

    fn insert(&mut self, id: Hash, certificate: Certificate, vertex: Vertex, parents: Parents) {
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
        self.dag.insert(&self.committee, id, certificate, vertex, parents);
        self.check_claims(&id);
        for covered in self.dag.cover(&id) {
            self.tell(&covered);
        }
        if round >= self.round && self.full_since.is_none() && self.is_full(self.round) {
            self.full_since = Some(self.now);
        }
    }

    /// Tells of the transactions of a certificate on which a later one stands, but for those that have settled before.
    pub(super) fn tell(&mut self, id: &Hash) {
        let Some(held) = self.dag.held(id) else { return };
        for &index in &held.certified {
            let (Some(tx), Some(&id)) =
                (held.vertex.txs().get(index as usize), held.vertex.tx_ids().get(index as usize))
            else {
                continue;
            };
            if self.decided.insert(id) {
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

    /// Asks for a certificate of a round no higher than `round`, first the peer that named it.
    pub(crate) fn want(&mut self, id: Hash, round: u64, named_by: u32) {
        // Room for the parents of a few vertices each.
        let limit = 64 + 2 * self.committee.len();
        if !self.dag.contains(&id) && !self.incomplete.contains_key(&id) {
            self.wanted.insert(id, round, named_by, self.now, limit);
        }
    }

    /// Wants what is still missing and was given up, or never wanted for lack of room.
    pub(super) fn want_again(&mut self) {
        let held = self.incomplete.values().map(|(_, vertex)| vertex);
        let waiting = self.waiting.values().map(|waiting| &waiting.vertex);
        let mut missing: Vec<(Hash, u64, u32)> = Vec::new();
        for vertex in held.chain(waiting) {
            let parents = vertex.parents().iter().filter(|parent| self.dag.lacks(vertex, parent));
            missing.extend(parents.map(|parent| (*parent, vertex.round() - 1, vertex.author())));
        }
        let bare = self.bare.values().map(|bare| (bare.id(&self.committee), bare.round, bare.author));
        missing.extend(bare);
        for (id, round, author) in missing {
            self.want(id, round, author);
        }
    }

    pub(super) fn fetch(&mut self) {
        let n = self.committee.len() as u32;
        for (to, ids) in self.wanted.due(self.now, n, self.own, self.config.resend) {
            for ids in ids.chunks(MAX_GET) {
                self.outputs.push_back(FastOutput::Send { to, message: FastMessage::Get(ids.to_vec()) });
            }
        }
    }
}
