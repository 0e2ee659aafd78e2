//! Banks that are restored from records, of which any byte may be another.

use burn::tensor::Device;
use burn_multi_positive::{MemoryBank, MemoryBankRecord};

/// Restores a bank of JSON, and a bank of its record.
pub fn run(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<MemoryBankRecord<String>>(data) else {
        return;
    };
    let ids = record.ids.len();
    let Ok(bank) = MemoryBank::from_record(record, &Device::flex()) else {
        return;
    };
    assert_eq!(bank.len(), ids.min(bank.capacity()));
    let saved = bank.to_record();
    let again = MemoryBank::from_record(saved.clone(), &Device::flex());
    let again = again.expect("the record of a bank").to_record();
    assert_eq!(again.capacity, saved.capacity);
    assert_eq!(again.ids, saved.ids);
    assert_eq!(again.oldest, saved.oldest);
    let bytes = |record: &MemoryBankRecord<String>| {
        let embeddings = record.embeddings.as_ref()?;
        Some(embeddings.as_bytes().to_vec())
    };
    assert_eq!(bytes(&again), bytes(&saved));
}

/// An empty bank, and one that is full and began again.
pub fn seeds() -> Vec<Vec<u8>> {
    let device = Device::flex();
    let mut bank = MemoryBank::new(3).expect("room for three");
    let empty = bank.to_record();
    for (place, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let place = place as f32;
        let embedding = burn::tensor::Tensor::from_floats([[place, -0.5]], &device);
        let pushed = bank.push(embedding, &[id.to_string()]);
        pushed.expect("an embedding of the bank's size");
    }
    [empty, bank.to_record()]
        .iter()
        .map(|record| serde_json::to_vec(record).expect("a record is JSON"))
        .collect()
}
