// Ranks the results of the site's search: guides first, then reference and explanation, then notes and decisions.
// Sphinx (html_search_scorer) uses this object instead of its own, so the figures below `score` are Sphinx's.
const RANKS = [
  [/^how-to\/.*\.id$/, -3], // the Indonesian pages, which English words find by their commands
  [/^how-to\//, 3],
  [/^(?:decisions|research)\//, -12], // below any page with the word in its text
  [/^index$/, -4], // has each word of each title
];

var Scorer = {
  score: ([page, , , , score]) => score + (RANKS.find(([pages]) => pages.test(page))?.[1] ?? 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
