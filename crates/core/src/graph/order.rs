//! Puts assets into topological order, or names a cycle.

/// The order in which every asset comes after what it is made from, stable in the order of definition.
///
/// # Errors
/// The members of one cycle, each made from the next, when there is no such order.
pub(super) fn topological(upstreams: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut missing: Vec<usize> = upstreams.iter().map(Vec::len).collect();
    let mut downstream = vec![Vec::new(); upstreams.len()];
    for (index, inputs) in upstreams.iter().enumerate() {
        for input in inputs {
            downstream[*input].push(index);
        }
    }
    let mut order = Vec::with_capacity(upstreams.len());
    let mut ready: std::collections::BTreeSet<usize> =
        (0..upstreams.len()).filter(|index| missing[*index] == 0).collect();
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for below in &downstream[next] {
            missing[*below] -= 1;
            if missing[*below] == 0 {
                ready.insert(*below);
            }
        }
    }
    if order.len() == upstreams.len() {
        Ok(order)
    } else {
        Err(cycle(upstreams, &missing))
    }
}

/// Walks upstream among assets that never became ready until one repeats.
fn cycle(upstreams: &[Vec<usize>], missing: &[usize]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut at = missing
        .iter()
        .position(|count| *count > 0)
        .expect("an incomplete order leaves an asset over");
    loop {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            return path.split_off(start);
        }
        path.push(at);
        at = *upstreams[at]
            .iter()
            .find(|input| missing[**input] > 0)
            .expect("an asset that never became ready waits for another such");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_comes_first() {
        assert_eq!(topological(&[vec![2], vec![], vec![1]]), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn a_cycle_is_named_whole() {
        let named = topological(&[vec![], vec![3, 0], vec![1], vec![2]]).unwrap_err();

        assert_eq!(named, vec![1, 3, 2]);
    }
}
