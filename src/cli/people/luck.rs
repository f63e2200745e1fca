//! The numbers that decide, from a seed: SplitMix64, a stream for each household. Reproducible, and no secret.

pub struct Luck(u64);

impl Luck {
    pub fn new(seed: u64, stream: u64) -> Luck {
        let mut luck = Luck(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        luck.0 = luck.next() ^ stream;
        luck
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// 0 to `n` - 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    /// From and to, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from + 1).max(1) as u64) as i64
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// True so often out of 100.
    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
    pub fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
    /// The first words of a list far more often than the last, as surnames are: the k-th about 1/(k+8) as often.
    pub fn common<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let share = self.next() as f64 / u64::MAX as f64;
        let spread = ((list.len() + 8) as f64 / 8.0).powf(share) * 8.0 - 8.0;
        list[(spread as usize).min(list.len() - 1)]
    }
    /// Eight upper-case hex digits.
    pub fn id(&mut self) -> String {
        format!("{:08X}", self.next() as u32)
    }
}
