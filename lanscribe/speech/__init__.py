"""Pure: sound as samples and positions, where there is speech, and text with times."""
