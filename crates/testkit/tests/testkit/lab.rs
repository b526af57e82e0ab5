//! Random pipelines in the real engine, calm and under faults: they come to the same.

use flowstone_core::run::RunState;
use flowstone_testkit::sketch::Sketch;
use flowstone_testkit::{Draw, Lab};

use crate::support::{seeds, tell};

/// Assets of a pipeline, at most.
const ASSETS_MAX: usize = 8;

#[test]
fn any_pipeline_comes_to_the_same_whatever_goes_wrong() {
    let (mut crashes, mut answers_lost, mut went_wrong) = (0, 0, 0);
    let count = seeds(500) / 10;
    for seed in 0..count {
        let pipeline = Sketch::draw(&mut Draw::seeded(seed), ASSETS_MAX).build();
        let mut calm = Lab::new(&pipeline).unwrap();
        let expected = calm.run_all().unwrap();
        let mut lab = Lab::new(&pipeline).unwrap();

        let disturbed = lab
            .run_all_under_faults(seed)
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));

        // Some of what is drawn fails anyhow, for want of an input; it fails in the same way then.
        assert_eq!(disturbed.report.state, expected.state, "seed {seed}: {disturbed:?}");
        assert_eq!(disturbed.report.counts, expected.counts, "seed {seed}");
        assert_eq!(
            lab.data_versions().unwrap(),
            calm.data_versions().unwrap(),
            "seed {seed}"
        );
        if expected.state == RunState::Succeeded {
            let again = lab.run_all().unwrap().counts.total;
            assert_eq!(again, 0, "seed {seed}: something was left to do");
        }
        crashes += disturbed.crashes;
        answers_lost += disturbed.answers_lost;
        went_wrong += disturbed.commits_failed + disturbed.stores_failed;
    }
    tell(&format!("figure lab_seeds {count}\nfigure lab_crashes {crashes}"));
    tell(&format!(
        "{answers_lost} answers lost, {went_wrong} commits and stores failed"
    ));
    assert!(
        crashes > 0 && answers_lost > 0 && went_wrong > 0,
        "not everything went wrong once"
    );
}
