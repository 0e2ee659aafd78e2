"""Sentences about many subjects, for reference.py."""

PLAIN = """\
The ferry leaves the harbour at half past six, whether or not the fog has lifted.
Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.
She rewound the clock in the hall and listened to it for a while.
Which rivers flow through Budapest?
A binary search halves the interval at every step.
My grandmother never measured the flour; she went by the feel of the dough.
The court adjourned without a verdict.
How do I remove red wine from a linen tablecloth?
Interest rates rose by a quarter of a percentage point in March.
Volcanoes under the ice sheet melt it from below.
The violinist tuned half a tone lower for the Baroque pieces.
Is it safe to eat potatoes that have sprouted?
Bees tell each other the way to a field by dancing.
The bridge was closed for repairs after the flood.
No goals were scored in the second half.
Prime numbers have exactly two divisors.
He had forgotten where he parked the car, as he did most Saturdays.
Glaciers carve valleys in the shape of a U.
What is the boiling point of water at three thousand metres?
The vaccine is given in two doses, four weeks apart.
Old maps drew monsters where nobody had sailed.
Rust refuses a program in which two threads could write to the same memory.
The choir rehearses on Thursdays in the old fire station.
Salt lowers the freezing point of water.
A retriever that sees only one positive passage learns that the others are wrong.
They planted an orchard of pears that nobody sells any more.
Why do cats knead blankets?
The museum shows tools of flint from the early Stone Age.
Electric trains recover energy when they brake.
In chess, a king that cannot move and is not attacked is stalemated.
The recipe asks for saffron, but turmeric will do.
Dust from the Sahara fertilises the forests of the Amazon.
The treaty was signed in a railway carriage.
I would like a window seat, please.
Coral bleaches when the sea stays too warm for weeks.
The novel begins at the end and works its way back.
Heat pumps move warmth from a cold place to a warm one.
Two of the witnesses contradicted each other.
Satellites in low orbit circle the earth in about ninety minutes.
The baker lights the oven at three in the morning.
Which muscles does rowing train?
Bats hear the echo of their own calls.
The library charges no fines since last year.
Copper roofs turn green in the rain.
The committee postponed its decision once more.
A sonnet has fourteen lines.
The lighthouse keeper wrote down the weather four times a day.
How long does it take to learn to juggle?
Penicillin was found by accident.
The tax on sugar made lemonade dearer and sales fell.
Sleep is when the brain tidies up.
An umbrella is of little use in this wind.\
""".splitlines()

WRITTEN_OTHERWISE = [
    "",
    " ",
    "\t\n  \n",
    "a",
    "Hm.",
    "?!",
    "...",
    "42",
    "3.14159 26535 89793",
    "1,234,567.89 EUR + 19 % VAT = 1,469,135.79 EUR",
    "2024-02-29T23:59:59Z",
    "ISBN 978-3-16-148410-0, p. 117 ff.",
    "THE WHOLE SENTENCE IS IN UPPER CASE, EXCEPT THIS word.",
    "cAmElCaSe and snake_case and kebab-case",
    "Déjà vu à la crème brûlée, naïve façade, Ångström, El Niño.",
    "Die Straßenbahn überquert die größte Brücke früh um fünf.",
    "Zażółć gęślą jaźń.",
    "İstanbul'da çay içtik, ıhlamur değil.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Кот спит на тёплой печке, а за окном метель.",
    "Η θάλασσα ήταν ήρεμη και ο ουρανός καθαρός.",
    "הספר על השולחן.",
    "الطقس جميل اليوم في المدينة القديمة.",
    "आज बाज़ार बंद है।",
    "今日は天気がいいので、散歩に行きましょう。",
    "北京的秋天是一年中最好的季节。",
    "서울의 겨울은 춥고 건조하다.",
    "วันนี้อากาศดีมาก",
    "Mixed: 東京 Tower is 333 m tall, 富士山 3,776 m.",
    "🙂 thanks, see you tomorrow 👋🏽 at 🕗",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u0301 is not \u00e9, though both look the same; \ufb01ne ligature, \u210c letter.",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, \ufeffmark and \ufffd replacement",
    "null\x00 and bell\x07 characters",
    "[CLS] special [SEP] tokens [MASK] in the [PAD] text [UNK]",
    "https://example.org/a/b?c=d&e=%20f#g and user.name+tag@example.com",
    "def f(x): return {k: v**2 for k, v in x.items() if v != 0}  # squares",
    "∑ᵢ xᵢ² ≤ ‖x‖∞ · ‖x‖₁ and ∀ε>0 ∃δ>0",
    "<p class=\"a\">Markup &amp; entities</p>",
    "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "abcdefghij" * 11,
    "\"Quotes,\" 'single' „low“ «pointed» – dashes — and … dots",
    "don't can't won't it's o'clock rock'n'roll",
]

PLACES = ["mountains", "harbour towns", "northern forests", "old quarters of the city", "islands"]
TIMES = ["in winter", "before sunrise", "after the war", "during the long dry summer"]
DOINGS = ["people mended what they could not buy", "the roads were empty", "nobody spoke of the mine"]

LONG = [
    " ".join(
        f"In the {place} {time}, {doing}."
        for place in PLACES[:places]
        for time in TIMES
        for doing in DOINGS
    )
    for places in [1, 2, 5]
] + ["word " * 254, "word " * 255]

SENTENCES = PLAIN + WRITTEN_OTHERWISE + LONG

assert len(SENTENCES) == 100, len(SENTENCES)
