//! Times of the cases in `shoal_lab::micro`, by criterion.

use criterion::{Criterion, criterion_group, criterion_main};
use shoal_lab::micro::CASES;

fn cases(criterion: &mut Criterion) {
    for case in CASES {
        criterion.bench_function(case.name, |bencher| {
            let mut iteration = (case.prepare)();
            bencher.iter(&mut iteration);
        });
    }
}

criterion_group!(micro, cases);
criterion_main!(micro);
