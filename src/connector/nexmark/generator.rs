//! Nexmark's events: which person, auction or bid has number n.
//!
//! An event is a function of the seed and its number alone. The random numbers are splitmix64's, whose k-th number can be
//! computed without the ones before it, so that what no query reads (names, padding) is skipped, not made.
//! The law (proportions, hot keys, prices, sizes) is the one of the bench's `nexgen`, number for number, so that a file
//! made by it and this source give the same stream.

/// splitmix64.
#[derive(Clone, Copy)]
pub struct Random(u64);

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    #[inline]
    fn skip(&mut self, numbers: u64) {
        self.0 = self.0.wrapping_add(STEP.wrapping_mul(numbers));
    }
    /// Uniform below `n`.
    #[inline]
    fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).expect("less than n")
    }
    #[inline]
    fn price(&mut self) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let unit = (self.next() >> 11) as f64 / 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 100 and 10^8")]
        let price = (10f64.powf(unit * 6.0) * 100.0).round() as u64;
        price
    }
    /// `length` random letters.
    fn letters(&mut self, out: &mut Vec<u8>, length: u64) {
        let mut left = length;
        while left > 0 {
            let mut x = self.next();
            let n = left.min(12);
            for _ in 0..n {
                out.push(b'a' + u8::try_from(x % 26).expect("below 26"));
                x /= 26;
            }
            left -= n;
        }
    }
    /// 3 to `most` random letters.
    fn word(&mut self, out: &mut Vec<u8>, most: u64) {
        let length = 3 + self.below(most - 2);
        self.letters(out, length);
    }
    fn skip_word(&mut self, most: u64) {
        let length = 3 + self.below(most - 2);
        self.skip(length.div_ceil(12));
    }
}

const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// One hot person or auction per so many.
const HOT_EVERY: u64 = 100;
/// Ids up to so far beyond the newest one occur too.
const LEAD: u64 = 10;

/// The parameters of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    pub seed: u64,
    /// Of event time.
    pub events_per_second: u64,
    pub base_ms: i64,
    pub persons: u64,
    pub auctions: u64,
    pub bids: u64,
    pub person_bytes: u64,
    pub auction_bytes: u64,
    pub bid_bytes: u64,
    /// One of so many is cold; 1: none is hot.
    pub hot_auctions: u64,
    pub hot_bidders: u64,
    pub hot_sellers: u64,
    /// Bids go to the last so many auctions.
    pub inflight_auctions: u64,
    pub active_people: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 42,
            events_per_second: 10_000,
            base_ms: 1_767_225_600_000,
            persons: 1,
            auctions: 3,
            bids: 46,
            person_bytes: 200,
            auction_bytes: 500,
            bid_bytes: 100,
            hot_auctions: 2,
            hot_bidders: 4,
            hot_sellers: 4,
            inflight_auctions: 100,
            active_people: 1000,
        }
    }
}

/// Which of the three an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Auction,
    Bid,
}

/// Which texts of an event are wanted; the rest is not made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Everything but `extra`.
    pub texts: bool,
    /// `extra` pads the record to a size, so it needs the other texts.
    pub extra: bool,
}

/// The texts of an event, one after the other, kept between events so that nothing is allocated.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: [usize; MAX_TEXTS],
    count: usize,
}

const MAX_TEXTS: usize = 6;

impl Texts {
    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
    fn end(&mut self) {
        if let Some(end) = self.ends.get_mut(self.count) {
            *end = self.bytes.len();
        }
        self.count += 1;
    }
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end();
    }
    /// The text that was made `index`-th.
    pub fn get(&self, index: usize) -> &[u8] {
        let end = |i: usize| self.ends.get(i).copied().unwrap_or(0);
        let start = if index == 0 { 0 } else { end(index - 1) };
        if index < self.count { self.bytes.get(start..end(index)).unwrap_or_default() } else { &[] }
    }
}

/// Event number n.
pub struct Event {
    pub kind: Kind,
    pub time_ms: i64,
    /// Person: id. Auction: id, initial bid, reserve, expiry (ms), seller, category. Bid: auction, bidder, price.
    pub numbers: [i64; 6],
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn digits(n: u64) -> u64 {
    u64::from(n.checked_ilog10().unwrap_or(0)) + 1
}

fn pick<'a>(list: &[&'a str], index: u64) -> &'a str {
    usize::try_from(index).ok().and_then(|i| list.get(i)).copied().unwrap_or_default()
}

impl Config {
    /// Events per round of persons, auctions and bids.
    pub fn round(&self) -> u64 {
        self.persons + self.auctions + self.bids
    }

    /// What event `n` is.
    #[inline]
    pub fn kind(&self, n: u64) -> Kind {
        let offset = n % self.round();
        if offset < self.persons {
            Kind::Person
        } else if offset < self.persons + self.auctions {
            Kind::Auction
        } else {
            Kind::Bid
        }
    }

    /// The event time of event `n`.
    #[inline]
    pub fn time_ms(&self, n: u64) -> i64 {
        let passed = match n.checked_mul(1000) {
            Some(scaled) => scaled / self.events_per_second,
            None => n / self.events_per_second * 1000,
        };
        self.base_ms + signed(passed)
    }

    /// The newest person's number by event `n`.
    #[inline]
    fn last_person(&self, n: u64) -> u64 {
        let (round, offset) = (n / self.round(), n % self.round());
        (round * self.persons + (offset + 1).min(self.persons)).saturating_sub(1)
    }

    /// The newest auction's number by event `n`.
    #[inline]
    fn last_auction(&self, n: u64) -> u64 {
        let (round, offset) = (n / self.round(), n % self.round());
        (round * self.auctions + (offset + 1).saturating_sub(self.persons).min(self.auctions)).saturating_sub(1)
    }

    fn any_person(&self, r: &mut Random, n: u64) -> u64 {
        let count = self.last_person(n) + 1;
        let active = count.min(self.active_people);
        count - active + r.below(active + LEAD)
    }

    fn any_auction(&self, r: &mut Random, n: u64) -> u64 {
        let most = self.last_auction(n);
        let least = most.saturating_sub(self.inflight_auctions);
        least + r.below(most - least + 1 + LEAD)
    }

    /// Makes event `n`; `texts` holds the wanted ones afterwards, in the order of the record.
    #[inline]
    pub fn event(&self, n: u64, wanted: Wanted, texts: &mut Texts) -> Event {
        let mut r = Random(self.seed ^ n.wrapping_mul(0xD134_2543_DE82_EF95));
        texts.clear();
        let wanted = Wanted { texts: wanted.texts || wanted.extra, ..wanted };
        match self.kind(n) {
            Kind::Bid => self.bid(n, &mut r, wanted, texts),
            Kind::Auction => self.auction(n, &mut r, wanted, texts),
            Kind::Person => self.person(n, &mut r, wanted, texts),
        }
    }

    fn person(&self, n: u64, r: &mut Random, wanted: Wanted, texts: &mut Texts) -> Event {
        let id = self.last_person(n) + FIRST_ID;
        if wanted.texts {
            let (first, last) = (pick(&FIRST_NAMES, r.below(11)), pick(&LAST_NAMES, r.below(9)));
            texts.bytes.extend_from_slice(first.as_bytes());
            texts.bytes.push(b' ');
            texts.push(last);
            r.word(&mut texts.bytes, 7);
            texts.bytes.push(b'@');
            r.word(&mut texts.bytes, 5);
            texts.push(".com");
            for i in 0..4 {
                if i > 0 {
                    texts.bytes.push(b' ');
                }
                crate::connector::format::number::push_padded(&mut texts.bytes, r.below(10_000), 4);
            }
            texts.end();
            texts.push(pick(&CITIES, r.below(10)));
            texts.push(pick(&STATES, r.below(6)));
        }
        if wanted.extra {
            // The names, quotes, colons and commas of the record's members, and the time.
            const MEMBERS: u64 = 117;
            self.extra(r, texts, MEMBERS + digits(id), self.person_bytes + 60);
        }
        Event { kind: Kind::Person, time_ms: self.time_ms(n), numbers: [signed(id), 0, 0, 0, 0, 0] }
    }

    fn auction(&self, n: u64, r: &mut Random, wanted: Wanted, texts: &mut Texts) -> Event {
        let id = self.last_auction(n) + FIRST_ID;
        if wanted.texts {
            r.word(&mut texts.bytes, 20);
            texts.end();
            r.word(&mut texts.bytes, 100);
            texts.end();
        } else {
            r.skip_word(20);
            r.skip_word(100);
        }
        let initial = r.price();
        let reserve = initial + r.price();
        let time_ms = self.time_ms(n);
        let ahead = n + self.inflight_auctions * self.round() / self.auctions.max(1);
        let horizon = u64::try_from(self.time_ms(ahead) - time_ms).unwrap_or(0);
        let length = 1 + r.below((horizon * 2).max(1));
        let hot = r.below(self.hot_sellers) > 0;
        let seller = if hot { self.last_person(n) / HOT_EVERY * HOT_EVERY } else { self.any_person(r, n) } + FIRST_ID;
        let category = FIRST_CATEGORY + r.below(5);
        if wanted.extra {
            const MEMBERS: u64 = 166;
            let numbers = digits(id) + digits(initial) + digits(reserve) + digits(seller) + digits(category);
            self.extra(r, texts, MEMBERS + numbers, self.auction_bytes);
        }
        let expires = time_ms + signed(length);
        let numbers = [signed(id), signed(initial), signed(reserve), expires, signed(seller), signed(category)];
        Event { kind: Kind::Auction, time_ms, numbers }
    }

    #[inline]
    fn bid(&self, n: u64, r: &mut Random, wanted: Wanted, texts: &mut Texts) -> Event {
        let hot_auction = r.below(self.hot_auctions) > 0;
        let auction = if hot_auction { self.last_auction(n) / HOT_EVERY * HOT_EVERY } else { self.any_auction(r, n) };
        let hot_bidder = r.below(self.hot_bidders) > 0;
        let bidder = if hot_bidder { self.last_person(n) / HOT_EVERY * HOT_EVERY + 1 } else { self.any_person(r, n) };
        let (auction, bidder, price) = (auction + FIRST_ID, bidder + FIRST_ID, r.price());
        if wanted.texts {
            let hot = r.below(2) > 0;
            let channel = if hot { r.below(4) } else { r.below(10_000) };
            push_channel(texts, hot, channel);
        }
        if wanted.extra {
            const MEMBERS: u64 = 98;
            self.extra(r, texts, MEMBERS + digits(auction) + digits(bidder) + digits(price), self.bid_bytes + 130);
        }
        let numbers = [signed(auction), signed(bidder), signed(price), 0, 0, 0];
        Event { kind: Kind::Bid, time_ms: self.time_ms(n), numbers }
    }

    /// Pads a record that would have `other` bytes beside its texts to about `size`, ±20 %.
    #[expect(clippy::unused_self, reason = "reads as the others do")]
    fn extra(&self, r: &mut Random, texts: &mut Texts, other: u64, size: u64) {
        let now = other + u64::try_from(texts.bytes.len()).unwrap_or(0);
        if size > now {
            let missing = size - now;
            let length = missing * 4 / 5 + r.below(missing * 2 / 5 + 1);
            r.letters(&mut texts.bytes, length);
        }
        texts.end();
    }
}

/// The channel, and its URL, which is a function of it.
fn push_channel(texts: &mut Texts, hot: bool, channel: u64) {
    if hot {
        texts.push(pick(&HOT_CHANNELS, channel));
    } else {
        texts.bytes.extend_from_slice(b"channel-");
        crate::connector::format::number::push_u64(&mut texts.bytes, channel);
        texts.end();
    }
    texts.bytes.extend_from_slice(b"https://www.nexmark.com/");
    let mut r = Random(if hot { 0xA000 } else { 0xB000 } + channel);
    for i in 0..3 {
        if i > 0 {
            texts.bytes.push(b'/');
        }
        r.word(&mut texts.bytes, 5);
    }
    texts.bytes.extend_from_slice(b"/item.htm?query=1");
    if !hot && r.below(10) > 0 {
        texts.bytes.extend_from_slice(b"&channel_id=");
        let id = u32::try_from(channel).unwrap_or(0).reverse_bits() & 0x7fff_ffff;
        crate::connector::format::number::push_u64(&mut texts.bytes, id.into());
    }
    texts.end();
}
