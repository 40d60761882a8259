mod beats;
mod fixture;
mod outside;
mod shares;
