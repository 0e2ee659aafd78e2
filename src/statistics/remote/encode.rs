//! The parts of a message that are not tensors, as the scalars of one of Burn's custom operations.

use burn::backend::ir::ScalarIr;

use crate::{
    FalseNegatives, PositiveThreshold,
    kernels::table::Request,
    statistics::{Curve, Product},
    targets::Lists,
};

/// The scalars of a message, written one behind the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<ScalarIr>);

impl Writer {
    pub fn into_scalars(self) -> Vec<ScalarIr> {
        self.0
    }

    pub fn float(&mut self, x: f64) {
        self.0.push(ScalarIr::Float(x));
    }

    pub fn integer(&mut self, x: u64) {
        self.0.push(ScalarIr::UInt(x));
    }

    pub fn flag(&mut self, x: bool) {
        self.0.push(ScalarIr::Bool(x));
    }

    pub fn request(&mut self, request: Request) {
        // By name, so that a new setting is not forgotten.
        let Request {
            temperature,
            exponent,
            hardness,
            bias,
            curve,
            false_negatives,
            wanted,
        } = request;
        for x in [temperature, exponent, hardness, bias] {
            self.float(x);
        }
        self.flag(curve.is_some());
        if let Some(Curve {
            positive,
            negative,
            paced,
        }) = curve
        {
            for Product {
                rate,
                offset,
                center,
            } in [positive, negative]
            {
                for x in [rate, offset, center] {
                    self.float(x);
                }
            }
            self.flag(paced);
        }
        self.flag(false_negatives.is_some());
        if let Some(rule) = false_negatives {
            self.false_negatives(rule);
        }
        self.integer(wanted.into());
    }

    pub fn false_negatives(&mut self, rule: FalseNegatives) {
        let FalseNegatives {
            threshold,
            margin,
            relative,
        } = rule;
        self.integer(match threshold {
            PositiveThreshold::Weakest => 0,
            PositiveThreshold::Strongest => 1,
            PositiveThreshold::Mean => 2,
        });
        self.float(margin);
        self.flag(relative);
    }

    /// Which parts lists have; the numbers in them are [a tensor](list_entries).
    pub fn lists(&mut self, lists: &Lists) {
        for length in lists.dims() {
            self.integer(length as u64);
        }
        self.flag(lists.weights().is_some());
        self.flag(lists.ignored().is_some());
    }
}

/// The numbers in lists: how many columns each query lists, and these columns; the same for those
/// that it ignores; the bits of the weights.
pub fn list_entries(lists: &Lists) -> Vec<i64> {
    let mut entries = Vec::new();
    let mut put = |lists: &[Vec<usize>]| {
        entries.extend(lists.iter().map(|columns| columns.len() as i64));
        entries.extend(lists.iter().flatten().map(|&column| column as i64));
    };
    put(lists.columns());
    if let Some(ignored) = lists.ignored() {
        put(ignored);
    }
    let weights = lists.weights().into_iter().flatten().flatten();
    entries.extend(weights.map(|weight| i64::from(weight.to_bits())));
    entries
}

/// What a [`Writer`] wrote, read in the same order.
///
/// It panics where something else was written: Burn ends the session of such a client.
#[cfg(feature = "remote-server")]
#[derive(Debug)]
pub struct Reader<'a>(std::slice::Iter<'a, ScalarIr>);

#[cfg(feature = "remote-server")]
impl<'a> Reader<'a> {
    pub fn new(scalars: &'a [ScalarIr]) -> Self {
        Self(scalars.iter())
    }

    pub fn float(&mut self) -> f64 {
        match self.0.next() {
            Some(ScalarIr::Float(x)) => *x,
            other => panic!("a message: expected a float, got {other:?}"),
        }
    }

    pub fn integer(&mut self) -> u64 {
        match self.0.next() {
            Some(ScalarIr::UInt(x)) => *x,
            other => panic!("a message: expected an integer, got {other:?}"),
        }
    }

    pub fn flag(&mut self) -> bool {
        match self.0.next() {
            Some(ScalarIr::Bool(x)) => *x,
            other => panic!("a message: expected a flag, got {other:?}"),
        }
    }

    fn length(&mut self) -> usize {
        let length = self.integer();
        length.try_into().expect("a message: expected a length")
    }

    pub fn request(&mut self) -> Request {
        Request {
            temperature: self.float(),
            exponent: self.float(),
            hardness: self.float(),
            bias: self.float(),
            curve: self.flag().then(|| Curve {
                positive: self.product(),
                negative: self.product(),
                paced: self.flag(),
            }),
            false_negatives: self.flag().then(|| self.false_negatives()),
            wanted: {
                let bits = self.integer().try_into();
                bits.expect("a message: expected a bit for each statistic")
            },
        }
    }

    fn product(&mut self) -> Product {
        Product {
            rate: self.float(),
            offset: self.float(),
            center: self.float(),
        }
    }

    pub fn false_negatives(&mut self) -> FalseNegatives {
        FalseNegatives {
            threshold: match self.integer() {
                0 => PositiveThreshold::Weakest,
                1 => PositiveThreshold::Strongest,
                2 => PositiveThreshold::Mean,
                other => panic!("a message: expected a threshold, got {other}"),
            },
            margin: self.float(),
            relative: self.flag(),
        }
    }

    /// Lists, given the [numbers in them](list_entries).
    pub fn lists(&mut self, entries: impl IntoIterator<Item = i64>) -> Lists {
        let [queries, documents] = [self.length(), self.length()];
        let [has_weights, has_ignored] = [self.flag(), self.flag()];
        let entries: Vec<i64> = entries.into_iter().collect();
        // So many at most, before memory is asked for by what a client says.
        let bound = entries.len();
        let mut entries = entries.into_iter();
        let mut entry = || entries.next().expect("a message: expected more entries");
        let mut take = || -> Vec<Vec<usize>> {
            assert!(queries <= bound, "a message: expected counts");
            let counts: Vec<i64> = (0..queries).map(|_| entry()).collect();
            let mut columns = |count: i64| -> Vec<usize> {
                let fits = usize::try_from(count).is_ok_and(|count| count <= bound);
                assert!(fits, "a message: expected {count} columns");
                let columns = (0..count).map(|_| entry() as usize);
                columns.collect()
            };
            counts.into_iter().map(&mut columns).collect()
        };
        let columns = take();
        let ignored = has_ignored.then(&mut take);
        let in_range = |lists: &Vec<Vec<usize>>| lists.iter().flatten().all(|&x| x < documents);
        assert!(
            in_range(&columns) && ignored.as_ref().is_none_or(in_range),
            "a message: expected columns of {documents} documents"
        );
        let mut weights = |columns: &Vec<usize>| -> Vec<f32> {
            let weights = columns.iter().map(|_| f32::from_bits(entry() as u32));
            weights.collect()
        };
        let weights = has_weights.then(|| columns.iter().map(&mut weights).collect());
        Lists::from_parts(
            columns,
            weights,
            ignored,
            documents,
            &burn::tensor::Device::flex(),
        )
    }
}
