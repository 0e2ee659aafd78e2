//! One query: its targets, and the buffers that its kernels share.

use super::{block::BLOCK, element::Element, real::Real};
use crate::targets::drawn;

/// The targets of one query; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub positives: &'a [u8],
    pub candidates: Option<&'a [u8]>,
    /// The only positive.
    pub choice: Option<Choice>,
}

/// One of the positives.
#[derive(Clone, Copy)]
pub enum Choice {
    Column(i64),
    Draw(i64),
}

impl Row<'_> {
    /// Collects the columns of the positives; whether the query is active.
    #[inline(always)]
    pub fn positives(self, columns: &mut Vec<usize>) -> bool {
        columns.clear();
        for (index, block) in self.positives.chunks(64).enumerate() {
            // Positives are few: most blocks are passed over at once.
            if block.iter().fold(0, |any, &positive| any | positive) == 0 {
                continue;
            }
            let positives = block.iter().enumerate().filter(|(_, mask)| **mask != 0);
            columns.extend(positives.map(|(offset, _)| index * 64 + offset));
        }
        if let Some(candidates) = self.candidates {
            columns.retain(|&column| candidates[column] != 0);
        }
        let active = !columns.is_empty();
        match self.choice {
            Some(Choice::Column(chosen)) => columns.retain(|&column| column as i64 == chosen),
            Some(Choice::Draw(draw)) if active => {
                let chosen = columns[drawn(draw, columns.len())];
                columns.clear();
                columns.push(chosen);
            }
            Some(Choice::Draw(_)) | None => {}
        }
        active
    }

    pub fn is_negative(self, column: usize) -> bool {
        self.positives[column] == 0 && self.candidates.is_none_or(|mask| mask[column] != 0)
    }

    /// For the columns from `start`, 0 where the document is a negative.
    #[inline(always)]
    pub fn excluded<'a>(&'a self, start: usize, buffer: &'a mut [u8; BLOCK]) -> &'a [u8] {
        let end = self.positives.len().min(start + BLOCK);
        let positives = &self.positives[start..end];
        let Some(candidates) = self.candidates else {
            return positives;
        };
        let buffer = &mut buffer[..end - start];
        for ((excluded, positive), candidate) in buffer
            .iter_mut()
            .zip(positives)
            .zip(&candidates[start..end])
        {
            *excluded = u8::from(*positive != 0) | u8::from(*candidate == 0);
        }
        buffer
    }
}

/// Buffers that are reused from row to row.
pub struct Scratch<E: Element> {
    /// The columns of the positives.
    pub columns: Vec<usize>,
    /// The scores of the positives.
    pub positives: Vec<f64>,
    pub excluded: [u8; BLOCK],
    pub scores: [E; BLOCK],
    pub wide: [E::Real; BLOCK],
    pub gradient: [E::Real; BLOCK],
}

impl<E: Element> Default for Scratch<E> {
    fn default() -> Self {
        let zero = E::Real::default();
        Self {
            columns: Vec::new(),
            positives: Vec::new(),
            excluded: [0; BLOCK],
            scores: [E::narrow(zero); BLOCK],
            wide: [zero; BLOCK],
            gradient: [zero; BLOCK],
        }
    }
}

impl<E: Element> Scratch<E> {
    /// Collects the positives of a query and their scores; whether the query is active.
    #[inline(always)]
    pub fn collect(&mut self, row: Row, scores: &[E]) -> bool {
        let active = row.positives(&mut self.columns);
        self.positives.clear();
        let score = |&column: &usize| scores[column].widen().to_f64();
        self.positives.extend(self.columns.iter().map(score));
        active
    }
}
