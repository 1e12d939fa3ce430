//! A binary heap whose order of equal elements is that of Java's `PriorityQueue`.
//!
//! Flink keeps partial and complete matches in such queues, ordered by their first row only: which of several matches
//! with the same first row comes first follows from the queue's algorithm, and decides which of them is emitted. So the
//! sift operations are those of the textbook that Java's follow, and elements are visited in the order of the array.

/// What the heap orders by.
pub trait Ordered {
    /// Smaller keys come first.
    fn key(&self) -> (i64, u64);
}

/// See the module text.
#[derive(Debug, Clone)]
pub struct Heap<T> {
    items: Vec<T>,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Heap { items: Vec::new() }
    }
}

impl<T: Ordered> Heap<T> {
    /// The elements, in the order of the array.
    pub fn items(&self) -> &[T] {
        &self.items
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// The first element.
    pub fn peek(&self) -> Option<&T> {
        self.items.first()
    }
    /// The elements, in the order of the array; the heap is empty then.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.items)
    }
    /// Adds an element.
    pub fn push(&mut self, item: T) {
        self.items.push(item);
        let mut at = self.items.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.items[at].key() >= self.items[parent].key() {
                break;
            }
            self.items.swap(at, parent);
            at = parent;
        }
    }
    /// Takes the first element.
    pub fn pop(&mut self) -> Option<T> {
        if self.items.is_empty() {
            return None;
        }
        let first = self.items.swap_remove(0);
        self.sift_down(0);
        Some(first)
    }
    /// Keeps the elements that satisfy the test.
    pub fn retain(&mut self, test: impl FnMut(&T) -> bool) {
        let before = self.items.len();
        self.items.retain(test);
        if self.items.len() != before {
            for at in (0..self.items.len() / 2).rev() {
                self.sift_down(at);
            }
        }
    }
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.items.len() {
                return;
            }
            let right = left + 1;
            let child = match self.items.get(right) {
                Some(item) if self.items[left].key() > item.key() => right,
                _ => left,
            };
            if self.items[at].key() <= self.items[child].key() {
                return;
            }
            self.items.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Item(i64, u64);
    impl Ordered for Item {
        fn key(&self) -> (i64, u64) {
            (self.0, 0)
        }
    }

    #[test]
    fn equal_elements_come_in_javas_order() {
        // Answers of java.util.PriorityQueue with a comparator of the first component.
        let mut heap = Heap::default();
        for (n, key) in [5, 1, 5, 1, 5, 1].into_iter().enumerate() {
            heap.push(Item(key, n as u64));
        }
        let array: Vec<u64> = heap.items().iter().map(|i| i.1).collect();
        assert_eq!(array, [1, 3, 5, 0, 4, 2]);
        heap.retain(|i| i.1 != 3);
        let array: Vec<u64> = heap.items().iter().map(|i| i.1).collect();
        assert_eq!(array, [1, 5, 0, 4, 2]);
        let order: Vec<u64> = std::iter::from_fn(|| heap.pop()).map(|i| i.1).collect();
        assert_eq!(order, [1, 5, 4, 0, 2]);
    }
}
