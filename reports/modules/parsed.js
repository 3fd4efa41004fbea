// Stands behind the chart library in the page: it need not wait until the rest of the page is parsed too.
document.documentElement.dataset.library = "parsed";
dispatchEvent(new Event("library-parsed"));
