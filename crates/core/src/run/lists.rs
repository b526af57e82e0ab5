//! Many short lists in one vector.

/// Lists by number, one behind the other in one vector: a thousand short ones cost two allocations.
#[derive(Debug, Clone)]
pub struct Lists<T> {
    items: Vec<T>,
    /// Where each list ends.
    ends: Vec<usize>,
}

impl<T> Lists<T> {
    /// None yet, with room for so many lists and for so many things in all of them together.
    pub fn with_capacity(lists: usize, items: usize) -> Self {
        Self {
            items: Vec::with_capacity(items),
            ends: Vec::with_capacity(lists),
        }
    }

    /// Adds a list behind the others.
    pub fn push(&mut self, list: impl IntoIterator<Item = T>) {
        self.items.extend(list);
        self.ends.push(self.items.len());
    }

    /// Adds a list behind the others, or nothing if one of its things is an error.
    ///
    /// # Errors
    /// The first of `list`.
    pub fn try_push<E>(&mut self, list: impl IntoIterator<Item = Result<T, E>>) -> Result<(), E> {
        let before = self.items.len();
        for item in list {
            match item {
                Ok(item) => self.items.push(item),
                Err(error) => {
                    self.items.truncate(before);
                    return Err(error);
                }
            }
        }
        self.ends.push(self.items.len());
        Ok(())
    }

    /// The list of this number; empty when there is none.
    pub fn get(&self, number: usize) -> &[T] {
        self.ends
            .get(number)
            .map_or(&[], |end| &self.items[self.start(number)..*end])
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: usize) -> &mut [T] {
        let start = self.start(number);
        match self.ends.get(number) {
            Some(end) => &mut self.items[start..*end],
            None => &mut [],
        }
    }

    fn start(&self, number: usize) -> usize {
        number
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_found_by_its_number() {
        let mut lists = Lists::with_capacity(3, 3);
        lists.push([1, 2]);
        lists.push([]);
        lists.push([3]);

        lists.get_mut(2)[0] += 1;

        let found: Vec<&[i32]> = (0..4).map(|number| lists.get(number)).collect();
        assert_eq!(found, [&[1, 2][..], &[], &[4], &[]]);
        assert!(lists.get_mut(3).is_empty());
    }

    #[test]
    fn a_list_with_an_error_is_not_added() {
        let mut lists = Lists::with_capacity(1, 2);

        assert_eq!(lists.try_push([Ok(1), Err("no")]), Err("no"));
        assert_eq!(lists.try_push([Ok(2), Ok::<_, &str>(3)]), Ok(()));

        assert_eq!(lists.get(0), [2, 3]);
    }
}
