//! Names, streets and towns that a made-up nation is made of. None of the combinations is meant to be anybody.

#[rustfmt::skip]
pub const SURNAMES: &[&str] = &[
    "Smith", "Jones", "Taylor", "Williams", "Brown", "Davies", "Evans", "Wilson", "Thomas", "Roberts", "Johnson", "Lewis",
    "Walker", "Robinson", "Wood", "Thompson", "White", "Watson", "Jackson", "Wright", "Green", "Harris", "Cooper", "King",
    "Lee", "Martin", "Clarke", "James", "Morgan", "Hughes", "Edwards", "Hill", "Moore", "Clark", "Harrison", "Scott",
    "Young", "Morris", "Hall", "Ward", "Turner", "Carter", "Phillips", "Mitchell", "Patel", "Adams", "Campbell", "Anderson",
    "Allen", "Cook", "Bailey", "Parker", "Miller", "Davis", "Murphy", "Price", "Bell", "Baker", "Griffiths", "Kelly",
    "Simpson", "Marshall", "Collins", "Bennett", "Cox", "Richardson", "Fox", "Gray", "Rose", "Chapman", "Hunt", "Robertson",
    "Shaw", "Reynolds", "Lloyd", "Ellis", "Richards", "Russell", "Wilkinson", "Khan", "Graham", "Stewart", "Reid", "Murray",
    "Powell", "Palmer", "Holmes", "Rogers", "Stevens", "Walsh", "Hunter", "Thomson", "Matthews", "Ross", "Owen", "Mason",
    "Knight", "Kennedy", "Butler", "Saunders", "Cole", "Pearce", "Dean", "Foster", "Harvey", "Hudson", "Gibson", "Mills",
    "Berry", "Barnes", "Pearson", "Kaur", "Booth", "Dixon", "Grant", "Gordon", "Lane", "Harper", "Ali", "Hart", "Mcdonald",
    "Brooks", "Ryan", "Carr", "Macdonald", "Hamilton", "Johnston", "West", "Gill", "Dawson", "Armstrong", "Gardner", "Stone",
    "Andrews", "Williamson", "Barker", "George", "Fisher", "Cunningham", "Watts", "Webb", "Lawrence", "Bradley", "Jenkins",
    "Wells", "Chambers", "Spencer", "Poole", "Atkinson", "Lawson", "Day", "Woods", "Rees", "Fraser", "Black", "Fletcher",
    "Hussain", "Willis", "Marsh", "Ahmed", "Doyle", "Lowe", "Burns", "Hopkins", "Nicholson", "Parry", "Newman", "Jordan",
    "Henderson", "Howard", "Barrett", "Burton", "Riley", "Porter", "Byrne", "Houghton", "John", "Perry", "Baxter", "Ball",
    "Begum", "Smythe", "Smyth", "O'Brien", "O'Connor", "Nowak", "Kowalski", "Silva", "Garc\u{ed}a", "M\u{fc}ller", "Popescu",
    "Ozturk", "Nguyen", "Chan", "Wong", "Mohamed", "Okafor", "Adeyemi", "Mensah", "Fern\u{e1}ndez", "\u{d6}zt\u{fc}rk", "Lef\u{e8}vre",
    "Featherstonehaugh", "Cholmondeley", "Marjoribanks", "Winterbourne", "Ravenscroft", "Thistlethwaite", "Ormerod",
    "Entwistle", "Ramsbottom", "Higginbotham", "Satterthwaite", "Pemberton", "Blenkinsop", "Heseltine", "Sowerby",
];
#[rustfmt::skip]
pub const BEGINNINGS: &[&str] = &[
    "Ash", "Beck", "Black", "Bram", "Brom", "Burn", "Cal", "Clay", "Crow", "Dal", "Den", "East", "Elm", "Fair", "Fen", "Gar",
    "Glen", "Green", "Hal", "Har", "Hazel", "Hol", "Kil", "Lang", "Lin", "Mar", "Mel", "Nor", "Oak", "Pen", "Ran", "Red",
    "Rock", "Ros", "Shel", "Stan", "Stock", "Sut", "Thorn", "Wal", "West", "Whit", "Win", "Wood", "Wyn",
];
#[rustfmt::skip]
pub const ENDINGS: &[&str] = &[
    "bourne", "brook", "bury", "by", "combe", "cott", "croft", "dale", "den", "field", "ford", "gate", "grave", "ham", "hurst",
    "land", "ley", "low", "man", "mere", "more", "ridge", "shaw", "stead", "stock", "thorpe", "thwaite", "ton", "wall", "well",
    "wick", "wood", "worth", "yard",
];
#[rustfmt::skip]
pub const WOMEN: &[&str] = &[
    "Margaret", "Susan", "Sarah", "Emma", "Olivia", "Patricia", "Christine", "Karen", "Claire", "Charlotte", "Amelia", "Mary",
    "Jane", "Nicola", "Laura", "Sophie", "Isla", "Jean", "Linda", "Julie", "Rebecca", "Jessica", "Ava", "Joan", "Anne", "Tracey",
    "Samantha", "Chloe", "Mia", "Dorothy", "Elizabeth", "Helen", "Rachel", "Lauren", "Grace", "Kathleen", "Barbara", "Alison",
    "Amy", "Hannah", "Ella", "Doris", "Maureen", "Amanda", "Gemma", "Emily", "Freya", "Fatima", "Aisha", "Priya", "Agnieszka",
    "Zo\u{eb}", "Ren\u{e9}e", "Chlo\u{e9}", "Siobhan", "Niamh", "Catherine", "Katherine", "Kathryn", "Philippa", "Jayne", "Ann",
];
#[rustfmt::skip]
pub const MEN: &[&str] = &[
    "John", "David", "Paul", "Christopher", "Oliver", "William", "Peter", "Andrew", "James", "George", "Robert", "Michael", "Mark",
    "Daniel", "Harry", "Ronald", "Stephen", "Richard", "Matthew", "Noah", "Kenneth", "Alan", "Steven", "Thomas", "Jack", "Thomas",
    "Brian", "Ian", "Joshua", "Leo", "Arthur", "Anthony", "Kevin", "Adam", "Oscar", "Frederick", "Keith", "Gary", "Luke", "Charlie",
    "Joseph", "Graham", "Simon", "Benjamin", "Muhammad", "Mohammed", "Mohammad", "Raj", "Piotr", "Jos\u{e9}", "Andr\u{e9}", "Sean",
    "Ewan", "Euan", "Stuart", "Stewart", "Geoffrey", "Jeffrey", "Philip", "Phillip", "Jon", "Nathan", "Justin", "Toby",
];
#[rustfmt::skip]
pub const STREETS: &[&str] = &[
    "High Street", "Station Road", "Church Lane", "Victoria Road", "Green Lane", "Manor Road", "Park Road", "Queen Street",
    "Kings Road", "Mill Lane", "The Avenue", "London Road", "York Road", "School Lane", "Chapel Street", "Grange Road",
    "North Street", "South View", "West End", "Richmond Road", "Springfield Road", "The Crescent", "Albert Road", "Meadow Close",
    "Oak Drive", "Elm Grove", "Church Road", "George Street", "New Road", "Alexandra Road", "Broadway", "Orchard Close",
];
/// Town, county, postcode area with the highest district.
#[rustfmt::skip]
pub const TOWNS: &[(&str, &str, &str, u64)] = &[
    ("Leeds", "West Yorkshire", "LS", 29), ("Scunthorpe", "Lincolnshire", "DN", 22), ("Manchester", "Greater Manchester", "M", 35),
    ("Birmingham", "West Midlands", "B", 49), ("Bristol", "Avon", "BS", 16), ("Sheffield", "South Yorkshire", "S", 26),
    ("Liverpool", "Merseyside", "L", 39), ("Newcastle upon Tyne", "Tyne and Wear", "NE", 30), ("Nottingham", "Nottinghamshire", "NG", 24),
    ("Plymouth", "Devon", "PL", 21), ("Norwich", "Norfolk", "NR", 20), ("Southampton", "Hampshire", "SO", 24),
    ("Reading", "Berkshire", "RG", 31), ("York", "North Yorkshire", "YO", 32), ("Carlisle", "Cumbria", "CA", 28),
    ("Exeter", "Devon", "EX", 24), ("Oxford", "Oxfordshire", "OX", 20), ("Coventry", "Warwickshire", "CV", 37),
    ("London", "", "SW", 20), ("London", "", "SE", 28), ("London", "", "E", 18), ("London", "", "N", 22), ("Croydon", "Surrey", "CR", 9),
    ("Hull", "East Yorkshire", "HU", 20), ("Derby", "Derbyshire", "DE", 24), ("Leicester", "Leicestershire", "LE", 19),
];
pub const LANGUAGES: &[(&str, &str)] = &[
    ("pl", "Polish"),
    ("pa", "Panjabi"),
    ("ur", "Urdu"),
    ("bn", "Bengali"),
    ("ar", "Arabic"),
    ("fr", "French"),
    ("q4", "British Sign Language"),
];
