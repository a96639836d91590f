/** Leads on, after signing in, to the view that was asked for: only the browser knows the fragment. */

for (const link of document.querySelectorAll("a[data-carry]")) link.hash = location.hash;
for (const form of document.querySelectorAll("form[data-carry]")) form.action += location.hash;
